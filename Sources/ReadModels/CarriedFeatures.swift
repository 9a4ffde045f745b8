import Postgres
import Wording

/// What new tables get from their live twins, made on them while they are empty.
struct CarriedFeatures: Sendable {
    /// What each table is to have.
    let merges: [ShapeMerge]
    /// Whether the tables are clones, and not made by a file.
    let isClone: Bool
    /// Owners of the tables that are others', by the live tables' names, qualified.
    let owners: [String: String]
    /// The search path of the definitions.
    let path: String

    private struct Step {
        let table: String
        let carried: ShapeMerge.Carried

        var feature: TableFeature { carried.feature }
    }

    /// Makes everything, a savepoint each, in the open transaction.
    ///
    /// A foreign key is made and undone: it locks the table that it refers to, which may be
    /// anybody's, against writes. So there is nothing to put its comment on.
    ///
    /// - Parameter connection: With the tables' schema first on the search path, then the live one.
    /// - Returns: What does not fit, and why, a sentence each.
    /// - Throws: ``ServerError`` when a lock was not to be had.
    func make(on connection: PostgresConnection) async throws -> [String] {
        let steps = merges.flatMap { merge in
            merge.carried.map { Step(table: merge.table, carried: $0) }
        }.filter { $0.feature.phase != .keys || $0.feature.partOf == nil }.sorted {
            ($0.feature.rank, $0.feature.key) < ($1.feature.rank, $1.feature.key)
        }
        var refusals: [String] = []
        var missing: Set<[String]> = []
        for step in steps {
            if let whole = step.feature.partOf, missing.contains([step.table, whole]) { continue }
            guard let error = try await make(step, on: connection) else { continue }
            missing.insert([step.table, step.feature.key])
            refusals.append(refusal(of: step, error))
        }
        return refusals
    }

    /// Makes one feature.
    ///
    /// - Returns: Why it cannot be made; nil when it was.
    private func make(_ step: Step, on connection: PostgresConnection) async throws -> ServerError?
    {
        try await connection.execute("SAVEPOINT feature")
        do {
            try await run(step, on: connection)
            try await connection.execute(
                step.feature.phase == .keys ? "ROLLBACK TO feature" : "RELEASE feature"
            )
            return nil
        } catch let error as ServerError where !error.isLockFailure {
            try await connection.execute("ROLLBACK TO feature")
            return error
        }
    }

    /// A check that is put onto a table is planned at once, and the server computes its constants.
    private func run(_ step: Step, on connection: PostgresConnection) async throws {
        var statements = step.feature.statements(replacing: step.carried.replaced)
        // No row has to have a parent yet, and validating plans a query of a table that may be anybody's.
        if step.feature.phase == .keys { statements.removeAll { $0 == step.feature.validation } }
        guard let owner = owners[step.table], step.feature.kind == "constraint",
            step.feature.phase == .table
        else {
            for statement in statements { try await connection.execute(statement) }
            return
        }
        try await RestrictedOperation(owner: owner).define(statements, under: path, on: connection)
    }

    private func refusal(of step: Step, _ error: ServerError) -> String {
        let name = "\(step.feature.key) on \(step.table)"
        let error = TextForPeople.oneLine(error)
        return isClone
            ? "\(name) cannot be made on a copy of the table: \(error)"
            : "\(name) was put there by hand and does not fit the new table: \(error) Take it off "
                + "the live table, or put what fits into schema.sql."
    }
}
