import Ledgers
import ProjectionKit

/// The newest value of each id, without those whose value is `gone`.
struct PlantedProjection: Projection {
    static let name = "live"
    static var schema: String? { GivenSQL.schema }
    static var checks: String? { GivenSQL.checks }
    var rows = Table<LiveRow>()

    mutating func reduce(_ event: borrowing Event) throws {
        let id = try event.payload.int32("id")
        let v = try event.payload.string("v")
        rows[id] = v == "gone" ? nil : LiveRow(id: id, v: v)
    }
}
