import Foundation
import TestSupport
import Testing

extension RebuildScene {
    /// Reads events as Python finds them in the ledger's file: a line each of time, type and payload.
    private static let readFile = """
        import sqlite3, sys
        events = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)
        for row in events.execute('SELECT time, type, payload FROM events ORDER BY sequence'):
            print(*row, sep='\\t')
        """

    /// Compares the live tables of the shop with the events in the ledger's file, folded by SQL of
    /// the tests' own.
    ///
    /// - Parameter path: The file; nil for the scene's.
    /// - Returns: A line for each row that one side alone has.
    /// - Throws: What the server says.
    func wrongRows(by path: String? = nil) async throws -> [String] {
        var events = ShopRoute.Events()
        let lines = try await Oracle.run(Self.readFile, [path ?? ledgerPath])
        for line in lines.split(separator: "\n") {
            let parts = line.split(separator: "\t", maxSplits: 2).map(String.init)
            try #require(parts.count == 3)
            events.add(try #require(Int64(parts[0])), parts[1], parts[2])
        }
        try await database.execute("DROP SCHEMA IF EXISTS route CASCADE")
        try await ShopRoute.lay([events], in: database)
        var wrong: [String] = []
        for table in ShopRoute.tables {
            wrong += try await ShopRoute.difference(in: table, of: database)
        }
        try await database.execute("DROP SCHEMA route CASCADE")
        return wrong
    }

    /// Whether the live tables hold what the ledger's file says.
    func isRight() async throws -> Bool { try await wrongRows().isEmpty }

    /// Changes rows by hand that no later event touches.
    func spoilByHand() async throws {
        try await database.execute("UPDATE public.order_line SET sku = 'by hand'")
    }
}
