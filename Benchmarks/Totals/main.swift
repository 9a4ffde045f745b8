import ProjectionKit
import RepriseCommand
import ShopProjection

/// The shop without a table of its lines, which are still known to the reducer: a read model of many
/// events a row, where `shop` has one of few.
struct Totals: Projection, CustomReflectable {
    static let name = "totals"
    static let schema: String? = String(decoding: PackageResources.schema_sql, as: UTF8.self)

    private var shop = Shop()

    /// Its tables are those of the shop; the lines are for the reducer alone.
    var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "summaries": shop.summaries, "lines": WorkingTable(shop.lines),
                "totals": shop.totals,
            ]
        )
    }

    mutating func reduce(_ event: borrowing Event) throws { try shop.reduce(event) }
}

await Reprise.main(projections: [Totals.self])
