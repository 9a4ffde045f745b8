internal import ProjectionKit
internal import ReadModels

/// The projections that the command knows.
enum Registry {
    /// A task-local value, because ArgumentParser makes the commands itself, by decoding, so that
    /// nothing can be handed to their initialisers; this is set once around all of them, reaches
    /// every task they start, and needs no lock.
    @TaskLocal static var projections: [any Projection.Type] = []

    /// Their names, in order.
    static var names: [String] { projections.map { $0.name } }

    /// The projection of a name.
    ///
    /// - Throws: ``CommandError/unknownProjection(name:nearest:known:)``.
    static func projection(named name: String) throws -> any Projection.Type {
        guard let found = projections.first(where: { $0.name == name }) else {
            throw CommandError.unknownProjection(
                name: name,
                nearest: Spelling.nearest(to: name, among: names),
                known: names
            )
        }
        return found
    }

    /// The projections that a command line names, each once.
    ///
    /// - Parameter allowsNone: Whether no name and no `--all` stand for all of them.
    static func projections(
        named given: [String],
        all: Bool,
        allowsNone: Bool
    ) throws -> [any Projection.Type] {
        guard given.isEmpty || !all else { throw CommandError.unclearProjections(known: names) }
        guard given.isEmpty else {
            var seen: Set<String> = []
            return try given.filter { seen.insert($0).inserted }.map { try projection(named: $0) }
        }
        guard all || allowsNone else { throw CommandError.unclearProjections(known: names) }
        return projections
    }

    /// Traps when two projections cannot live together.
    static func assertSound(_ projections: [any Projection.Type]) {
        var names: Set<String> = []
        var owners: [String: String] = [:]
        for projection in projections {
            let name = projection.name
            precondition(
                names.insert(name).inserted,
                "two projections have the name '\(name)'"
            )
            for table in ProjectionTables(projection).tables {
                // A table that a projection declares twice is a matter for its plan.
                let owner = owners.updateValue(name, forKey: table.name) ?? name
                precondition(
                    owner == name,
                    "the projections '\(owner)' and '\(name)' both own the table '\(table.name)'"
                )
            }
        }
    }
}

/// Finds what somebody may have meant.
enum Spelling {
    /// The name that takes fewest changes of a letter, if that is not more than a third of them.
    static func nearest(to name: String, among names: [String]) -> String? {
        let distances = names.map { (name: $0, distance: distance(name.lowercased(), $0)) }
        guard let best = distances.min(by: { $0.distance < $1.distance }),
            best.distance <= max(1, max(name.count, best.name.count) / 3)
        else { return nil }
        return best.name
    }

    /// Letters to insert, remove or replace to get from one to the other (Levenshtein).
    static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (i, letter) in left.enumerated() {
            var previous = row[0]
            row[0] = i + 1
            for j in right.indices {
                let replaced = previous + (letter == right[j] ? 0 : 1)
                previous = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}
