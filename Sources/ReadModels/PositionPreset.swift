package import Postgres

/// Frameworks of which Reprise knows the table that a projector keeps its position in.
///
/// The raw values are those of the setting `preset`.
package enum PositionPreset: String, CaseIterable, Sendable {
    case marten
    case emmett
    case commanded
    case eventsourcing
    case pekko
    case patchlevel

    /// What distinguishes one projector's row from the others in the table.
    package struct Row: Sendable {
        /// The projector's name, in the framework's own words.
        package var name: String
        /// What tells its rows apart where the name does not.
        package var key: String?
        /// The table, where it is not the framework's usual one.
        package var table: QualifiedName?
        /// How the position is written down, where the framework has two ways.
        package var format: PositionFormat?

        /// Names a row.
        package init(
            name: String,
            key: String? = nil,
            table: QualifiedName? = nil,
            format: PositionFormat? = nil
        ) {
            self.name = name
            self.key = key
            self.table = table
            self.format = format
        }
    }

    /// The statements for one projector.
    ///
    /// - Parameter row: Which row is its own.
    /// - Returns: The template.
    /// - Throws: ``PositionTemplate/Complaint``.
    package func template(for row: Row) throws(PositionTemplate.Complaint) -> PositionTemplate {
        try check(row)
        let format = row.format ?? (self == .emmett ? .pair : .number)
        guard let table = (row.table ?? usualTable)?.sql else {
            throw PositionTemplate.Complaint(
                "table",
                "is missing: '\(rawValue)' has a table of its own for each application"
            )
        }
        let columns = columns(format)
        let condition = condition(row)
        let changes = ([columns.position] + columns.others).joined(separator: ", ")
        return try PositionTemplate(
            read: "SELECT \(columns.name) FROM \(table) WHERE \(condition) FOR UPDATE",
            write: "UPDATE \(table) SET \(changes) WHERE \(condition)",
            format: format
        )
    }

    private func check(_ row: Row) throws(PositionTemplate.Complaint) {
        for (field, text) in [("name", row.name), ("key", row.key ?? "-")] {
            guard !text.isEmpty else { throw PositionTemplate.Complaint(field, "is empty") }
            // A mark of a template in it would be filled in.
            guard !text.contains("{"), !text.utf8.contains(0) else {
                throw PositionTemplate.Complaint(field, "holds a brace or a zero byte")
            }
        }
        if self == .pekko, row.key == nil {
            throw PositionTemplate.Complaint("key", "is missing: 'pekko' has one row for each key")
        }
        if row.key != nil, ![.pekko, .emmett].contains(self) {
            throw PositionTemplate.Complaint("key", "means nothing to '\(rawValue)'")
        }
        let formats: [PositionFormat] = self == .emmett ? [.pair, .number] : [.number]
        if let format = row.format, !formats.contains(format) {
            let words = formats.map { "'\($0.rawValue)'" }.joined(separator: " or ")
            throw PositionTemplate.Complaint("format", "must be \(words) with '\(rawValue)'")
        }
    }

    private var usualTable: QualifiedName? {
        let name: String? =
            switch self {
            case .marten: "mt_event_progression"
            case .emmett: "emt_processors"
            case .commanded: "projection_versions"
            case .eventsourcing: nil
            case .pekko: "pekko_projection_offset_store"
            case .patchlevel: "subscriptions"
            }
        return name.map { QualifiedName(schema: "public", name: $0) }
    }

    /// The column of the position, and what is set at each change of it.
    private func columns(
        _ format: PositionFormat
    ) -> (name: String, position: String, others: [String]) {
        let now = "pg_catalog.now()"
        switch self {
        case .marten:
            return ("last_seq_id", "last_seq_id = {position}", ["last_updated = \(now)"])
        case .emmett:
            // Until 0.42 it was a number of 19 digits.
            let position =
                format == .pair
                ? "{position}" : "pg_catalog.lpad({position}::pg_catalog.text, 19, '0')"
            return (
                "last_processed_checkpoint", "last_processed_checkpoint = \(position)",
                [
                    "last_processed_transaction_id = pg_catalog.pg_current_xact_id()",
                    "last_updated = \(now)",
                ]
            )
        case .commanded:
            return (
                "last_seen_event_number", "last_seen_event_number = {position}",
                ["updated_at = \(now)"]
            )
        case .eventsourcing: return ("notification_id", "notification_id = {position}", [])
        case .pekko:
            let milliseconds = "1000 * extract(epoch FROM pg_catalog.clock_timestamp())"
            return (
                "current_offset", "current_offset = {position}::pg_catalog.text",
                ["last_updated = (\(milliseconds))::pg_catalog.int8"]
            )
        case .patchlevel: return ("position", "position = {position}", ["last_saved_at = \(now)"])
        }
    }

    private func condition(_ row: Row) -> String {
        let name = SQLText.literal(row.name)
        switch self {
        case .marten: return "name = \(name)"
        case .emmett:
            let partition = SQLText.literal(row.key ?? "emt:default")
            return "processor_id = \(name) AND partition = \(partition) AND version = 1"
        case .commanded: return "projection_name = \(name)"
        case .eventsourcing: return "application_name = \(name)"
        case .pekko:
            let key = SQLText.literal(row.key ?? "")
            return "projection_name = \(name) AND projection_key = \(key)"
        case .patchlevel: return "id = \(name)"
        }
    }
}

/// Frameworks whose position no statement can read and write soundly.
package enum UnservedFramework: String, CaseIterable, Sendable {
    case axon
    case sequent
    case messageDB = "message-db"

    /// Why, and what to do instead, as the end of a sentence.
    package var reason: String {
        let hooks = "leave the position out, and let a hook before the swap stop"
        return switch self {
        case .axon:
            "cannot be 'axon': its token is serialised and holds gaps; \(hooks) the processor and one "
                + "after it reset its token to $REPRISE_POSITION"
        case .sequent:
            "cannot be 'sequent': it keeps a state of each projector's version and no position; "
                + "\(hooks) whoever writes and one after it start them"
        case .messageDB:
            "cannot be 'message-db': its consumers record a position now and then, behind their rows, "
                + "and lock nothing; \(hooks) the consumer and one after it write $REPRISE_POSITION "
                + "to the position stream"
        }
    }
}
