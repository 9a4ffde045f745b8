import Foundation
import LedgerConformance
import LedgerKit
import LinesLedger
import ProjectionKit
import Testing

@Test("the file keeps every promise of a ledger")
func conformance() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let violations = LedgerConformance {
        let path = folder.appending(path: UUID().uuidString).path
        try LinesLedger.create(path: path)
        return LedgerSubject(
            open: { try LinesLedger(path: path) },
            append: { events in try LinesLedger.append(events.map(LinesLedger.Line.init), to: path)
            }
        )
    }.violations()
    #expect(violations == [])
}

extension LinesLedger.Line {
    fileprivate init(_ event: AppendableEvent) {
        self.init(
            id: event.id,
            time: event.time.microseconds,
            stream: event.stream,
            type: event.type,
            payload: event.payload,
            metadata: event.metadata
        )
    }
}
