import Postgres
import TestSupport
import Testing

extension RebuildScene {
    /// All rows of the shop's live tables, as one number.
    func shopDigest() async throws -> String {
        let row = try await database.query(
            """
            SELECT md5(string_agg(line, E'\\n' ORDER BY line)) AS digest FROM (
                SELECT 's' || t AS line FROM public.order_summary AS t
                UNION ALL SELECT 'l' || t FROM public.order_line AS t
                UNION ALL SELECT 'c' || t FROM public.customer_totals AS t) AS all_rows
            """
        ).first
        return try #require(try row?.string("digest"))
    }
}
