internal import Postgres
internal import TestSupport
internal import Testing

@Suite("A connection")
struct PostgresConnectionTests {
    @Test("parameters of every kind arrive as they were sent")
    func parameters() async throws {
        try await withScratchDatabase { database in
            let row = try await database.query(
                """
                SELECT $1::text AS nothing, $2::text AS words, $3::bigint AS number, $4::bool AS truth,
                       $5::bytea AS bytes, array_length($6::text[], 1) AS texts,
                       ($6::text[])[2] AS second, ($7::bigint[])[2] AS negative
                """,
                [
                    nil, "it's \"ö\" \\ \u{1F989}", 9_223_372_036_854_775_807, true,
                    .bytes([0, 255, 16]), .texts(["", "a\\\"},{NULL", "NULL"]), .ints([1, -5]),
                ]
            ).first
            let result = try #require(row)
            #expect(result["nothing"] == nil)
            #expect(result["words"] == "it's \"ö\" \\ \u{1F989}")
            #expect(try result.int("number") == .max)
            #expect(try result.bool("truth"))
            #expect(try result.bytes("bytes") == [0, 255, 16])
            #expect(try result.int("texts") == 3)
            #expect(result["second"] == "a\\\"},{NULL")
            #expect(try result.int("negative") == -5)
        }
    }
}
