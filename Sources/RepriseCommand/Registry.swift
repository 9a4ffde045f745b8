internal import LedgerKit
internal import ProjectionKit
internal import ReadModels

/// The projections that the command knows.
enum Registry {
    /// A task-local value, because ArgumentParser makes the commands itself, by decoding, so that
    /// nothing can be handed to their initialisers; this is set once around all of them, reaches
    /// every task they start, and needs no lock.
    @TaskLocal static var projections: [any Projection.Type] = []

    /// The kinds of ledgers that the command knows besides the embedded one.
    @TaskLocal static var ledgers: [LedgerScheme] = []

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
    /// - Parameters:
    ///   - given: The names.
    ///   - all: Whether `--all` was said.
    ///   - allowsNone: Whether no name and no `--all` stand for all of them.
    /// - Returns: The projections in the order they were named.
    /// - Throws: ``CommandError``.
    static func projections(
        named given: [String],
        all: Bool,
        allowsNone: Bool
    ) throws -> [any Projection.Type] {
        guard given.isEmpty || !all else {
            throw CommandError.unclearProjections(isBoth: true, known: names)
        }
        guard given.isEmpty else {
            var seen: Set<String> = []
            return try given.filter { seen.insert($0).inserted }.map { try projection(named: $0) }
        }
        guard all || allowsNone else {
            throw CommandError.unclearProjections(isBoth: false, known: names)
        }
        return projections
    }

    /// What is wrong with the program: mistakes of its author, whatever the command line says.
    ///
    /// - Returns: A sentence for each.
    static func mistakes(
        in projections: [any Projection.Type],
        _ ledgers: [LedgerScheme]
    ) -> [String] {
        let own = projections.flatMap { $0.mistakes } + ledgers.compactMap(\.mistake)
        // A table that is not declared rightly cannot be looked at.
        guard own.isEmpty else { return own }
        var mistakes: [String] = []
        var names: Set<String> = []
        var owners: [String: String] = [:]
        for projection in projections {
            let name = projection.name
            if !names.insert(name).inserted {
                mistakes.append("Two projections have the name '\(name)'.")
            }
            for table in ProjectionTables(projection).tables {
                // A table that a projection declares twice is a matter for its plan.
                let owner = owners.updateValue(name, forKey: table.name) ?? name
                guard owner != name else { continue }
                mistakes.append(
                    "The projections '\(owner)' and '\(name)' both have the table '\(table.name)'."
                )
            }
        }
        return mistakes
    }
}

/// Finds what somebody may have meant.
enum Spelling {
    /// The name that takes fewest changes of a letter, if at least half of it stays.
    static func nearest(to name: String, among names: [String]) -> String? {
        let distances = names.map { (name: $0, distance: distance(name.lowercased(), $0)) }
        guard let best = distances.min(by: { $0.distance < $1.distance }),
            best.distance <= max(name.count, best.name.count) / 2
        else { return nil }
        return best.name
    }

    /// Letters to insert, remove or replace, and neighbours to exchange, to get from one to the
    /// other (optimal string alignment).
    static func distance(_ left: String, _ right: String) -> Int {
        let (left, right) = (Array(left), Array(right))
        var before: [Int] = []
        var above = Array(0...right.count)
        for i in left.indices {
            var row = [i + 1]
            for j in right.indices {
                var best = above[j] + (left[i] == right[j] ? 0 : 1)
                best = min(best, above[j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    best = min(best, before[j - 1] + 1)
                }
                row.append(best)
            }
            before = above
            above = row
        }
        return above[right.count]
    }
}
