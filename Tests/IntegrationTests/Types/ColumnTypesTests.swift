internal import Foundation
internal import Ledgers
internal import Postgres
internal import ProjectionKit
internal import ReadModels
internal import Rebuilder
internal import TestSupport
internal import Testing

@Suite("Column types")
struct ColumnTypesTests {
    @Test("every type arrives as what the SQL literal of the same value gives, and as NULL")
    func everyType() async throws {
        try await withRebuildScene { scene in
            try scene.append(EveryType.samples.indices.map { EveryType.event($0) })
            _ = try await scene.rebuild(EveryTypes.self)
            try await scene.database.execute(
                "CREATE TABLE public.expected AS TABLE public.every_type WITH NO DATA"
            )
            for (index, literals) in EveryType.literals.enumerated() {
                try await scene.database.execute(
                    """
                    INSERT INTO public.expected (id, \(EveryType.columns), doubled, stamped)
                    VALUES (\(index), \(literals.joined(separator: ", ")), \(index * 2), 'kept')
                    """
                )
            }
            let names = EveryType.columns.split(separator: ", ") + ["id", "doubled", "stamped"]
            for column in names {
                // By their text: NaN, -0 and trailing zeros of numerics are told apart.
                let unequal = try await scene.database.query(
                    """
                    SELECT l.id, l.\(column)::text AS found, e.\(column)::text AS wanted
                    FROM public.every_type AS l FULL JOIN public.expected AS e USING (id)
                    WHERE l.\(column)::text IS DISTINCT FROM e.\(column)::text
                    """
                )
                let lines = unequal.rows.map {
                    "\($0["id"] ?? "-"): \($0["found"] ?? "NULL"), not \($0["wanted"] ?? "NULL")"
                }
                #expect(lines == [], "\(column)")
            }
            #expect(try await scene.database.count("public.every_type") == 5)
        }
    }

    @Test("a truncate stores what a swap stores")
    func truncate() async throws {
        try await withRebuildScene { scene in
            try scene.append(EveryType.samples.indices.map { EveryType.event($0) })
            _ = try await scene.rebuild(EveryTypes.self)
            let swapped = try await scene.rows(of: "public.every_type")
            var options = RebuildOptions()
            options.strategy = .truncate
            _ = try await scene.rebuild(EveryTypes.self, options: options)
            #expect(try await scene.rows(of: "public.every_type") == swapped)
            #expect(swapped.count == 5)
        }
    }

    @Test("random whole numbers, decimals, times and texts arrive as they were")
    func randomValues() async throws {
        print("the random values of this test: seed \(RandomRow.seed)")
        try await withRebuildScene { scene in
            let rows = (0..<1_000).map { RandomRow(index: $0) }
            try scene.append(rows.map { EveryType.event(Int($0.index)) })
            _ = try await scene.rebuild(RandomRows.self)
            let unequal = try await scene.database.query(
                """
                SELECT e.index FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[],
                    $5::text[]) AS e (index, whole, decimal, microseconds, words)
                FULL JOIN public.random_row AS r ON r.id = e.index
                WHERE r.i8 IS DISTINCT FROM e.whole OR r.i4 IS DISTINCT FROM e.whole >> 32
                    OR r.i2 IS DISTINCT FROM e.whole >> 48
                    OR r.n IS DISTINCT FROM e.decimal::numeric
                    OR extract(epoch FROM r.tz) * 1000000 IS DISTINCT FROM e.microseconds::numeric
                    OR extract(epoch FROM r.ts) * 1000000 IS DISTINCT FROM e.microseconds::numeric
                    OR r.t IS DISTINCT FROM e.words OR r.ta IS DISTINCT FROM ARRAY[e.words, e.words]
                """,
                [
                    .ints(rows.map(\.index)), .ints(rows.map(\.whole)),
                    .texts(rows.map(\.decimalText)), .ints(rows.map(\.time.microseconds)),
                    .texts(rows.map(\.words)),
                ]
            )
            #expect(unequal.rows.map { $0["index"] } == [])
            #expect(try await scene.database.count("public.random_row") == 1_000)
        }
    }
}
