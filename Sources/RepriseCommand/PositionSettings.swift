internal import Configuration
internal import Postgres
internal import ReadModels

/// The settings of one projector's position, which stand in the settings file under
/// `projections.NAME.position`.
enum PositionField: String, CaseIterable {
    case preset
    case name
    case key
    case table
    case read
    case write
    case format

    /// Where it stands in the settings file.
    func path(of projection: String) -> [String] {
        ["projections", projection, "position", rawValue]
    }

    /// The same as people read it.
    func name(of projection: String) -> String {
        path(of: projection).joined(separator: ".")
    }

    /// Every name that the settings file can hold, of the projections that there are.
    static var names: [String] {
        Registry.names.flatMap { projection in allCases.map { $0.name(of: projection) } }
    }
}

extension Settings {
    /// The templates of those projectors that keep their position themselves, by projection.
    ///
    /// - Throws: ``CommandError/badSetting(source:reason:)``.
    func positionTemplates() throws -> [String: PositionTemplate] {
        guard let file, let values = file.values else { return [:] }
        var templates: [String: PositionTemplate] = [:]
        for projection in Registry.names {
            let found = try PositionSettings(of: projection, in: values, of: file)
            do throws(PositionTemplate.Complaint) {
                templates[projection] = try found.template()
            } catch {
                throw CommandError.badSetting(
                    source: "The setting '\(found.source(of: error.field))' in '\(file.path)'",
                    reason: error.reason
                )
            }
        }
        return templates
    }
}

/// What the settings file says about one projector's position.
private struct PositionSettings {
    let projection: String
    private var values: [PositionField: String] = [:]

    init(of projection: String, in snapshot: any ConfigSnapshot, of file: SettingsFile) throws {
        self.projection = projection
        for field in PositionField.allCases {
            let key = AbsoluteConfigKey(field.path(of: projection))
            do {
                let found = try snapshot.value(forKey: key, type: .string).value
                guard case .string(let text) = found?.content else { continue }
                values[field] = text
            } catch {
                throw CommandError.badSetting(
                    source: "The setting '\(field.name(of: projection))' in '\(file.path)'",
                    reason: "is not a text"
                )
            }
        }
    }

    /// The name of a setting that a complaint is about.
    func source(of field: String) -> String { "projections.\(projection).position.\(field)" }

    /// What the settings amount to; nil when there are none.
    func template() throws(PositionTemplate.Complaint) -> PositionTemplate? {
        guard !values.isEmpty else { return nil }
        guard let word = values[.preset] else { return try ownTemplate() }
        let preset = try preset(word)
        for field in [PositionField.read, .write] where values[field] != nil {
            throw .init(field.rawValue, "stands beside 'preset', which has its own")
        }
        guard let name = values[.name] else {
            throw .init("name", "is missing: it says which row is this projector's")
        }
        return try preset.template(
            for: .init(
                name: name,
                key: values[.key],
                table: try table(),
                format: try format()
            )
        )
    }

    private func ownTemplate() throws(PositionTemplate.Complaint) -> PositionTemplate {
        for field in [PositionField.name, .key, .table] where values[field] != nil {
            throw .init(field.rawValue, "needs a 'preset' beside it")
        }
        guard let read = values[.read] else {
            throw .init("read", "is missing: give 'read', 'write' and 'format', or a 'preset'")
        }
        guard let write = values[.write] else { throw .init("write", "is missing") }
        guard let format = try format() else {
            throw .init("format", "is missing: \(Self.words(PositionFormat.self))")
        }
        return try PositionTemplate(read: read, write: write, format: format)
    }

    private func preset(_ word: String) throws(PositionTemplate.Complaint) -> PositionPreset {
        if let unserved = UnservedFramework(rawValue: word) {
            throw .init("preset", unserved.reason)
        }
        guard let preset = PositionPreset(rawValue: word) else {
            throw .init("preset", "must be \(Self.words(PositionPreset.self)); it is '\(word)'")
        }
        return preset
    }

    private func format() throws(PositionTemplate.Complaint) -> PositionFormat? {
        guard let word = values[.format] else { return nil }
        guard let format = PositionFormat(rawValue: word) else {
            throw .init("format", "must be \(Self.words(PositionFormat.self)); it is '\(word)'")
        }
        return format
    }

    private func table() throws(PositionTemplate.Complaint) -> QualifiedName? {
        guard let text = values[.table] else { return nil }
        guard let name = QualifiedName(sql: text) else {
            throw .init("table", "must be a schema and a name, such as public.positions")
        }
        return name
    }

    private static func words<Word: CaseIterable & RawRepresentable<String>>(
        _: Word.Type
    ) -> String {
        let words = Word.allCases.map(\.rawValue)
        return words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    }
}
