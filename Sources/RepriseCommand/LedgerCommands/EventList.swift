internal import LedgerKit
internal import Ledgers
internal import ProjectionKit
internal import Wording

/// Events as `show` prints them: a table for people, or lines for programs.
///
/// Used by one thread.
final class EventList {
    /// An event on its way to the output.
    enum Row {
        case line([UInt8])
        case cells(number: String, time: String, stream: String, type: String, data: String)
    }

    /// Rows that get columns of one width; wider ones widen the next page.
    private static let pageRows = 200
    /// Characters of content where no terminal sets the width.
    private static let unboundedContent = 1_000
    /// Characters of a stream or a type.
    private static let longestName = 40

    /// Throws once the command is to end.
    let check: () throws -> Void

    private let ledger: any Ledger
    private let sink: ByteSink
    private let asJSON: Bool
    private let columns: Int?
    private let lines = EventLines()
    private var page: [Row] = []
    private var widths = [0, 0, 0, 0]

    /// A list for a terminal of that width; nil for none.
    init(_ ledger: any Ledger, to sink: ByteSink, asJSON: Bool, columns: Int?) {
        self.ledger = ledger
        self.sink = sink
        self.asJSON = asJSON
        self.columns = columns
        check = { try sink.pause(milliseconds: 0) }
    }

    /// Adds an event behind the others.
    func add(_ event: borrowing Event) { add(row(event)) }

    /// Adds a row behind the others.
    func add(_ row: Row) { page.append(row) }

    /// An event's row.
    func row(_ event: borrowing Event) -> Row {
        let number = (ledger as? any NumberedLedger)?.number(of: event.position)
        if asJSON {
            lines.removeAll()
            lines.append(event, position: event.position, sequence: number)
            return .line(Array(lines.bytes))
        }
        let most = columns ?? Self.unboundedContent
        // A character has four bytes at most: no more of a long content is looked at.
        let texts = event.bytes
        let payload = UnsafeRawBufferPointer(rebasing: texts.payload.prefix(most * 4))
        return .cells(
            number: number.map { "\($0)" } ?? "\(event.position)",
            time: Self.text(of: event.time),
            stream: Self.shown(UnsafeRawBufferPointer(rebasing: texts.stream.prefix(1_024))),
            type: Self.shown(event.type.name),
            data: Self.shown(payload, most: most)
        )
    }

    /// Writes a page that is full.
    func finishPage() throws {
        if page.count >= Self.pageRows { try finish() }
    }

    /// Writes what was added.
    func finish() throws {
        guard !page.isEmpty else { return }
        var bytes: [UInt8] = []
        measure()
        for row in page {
            switch row {
            case .line(let line): bytes += line
            case .cells(let number, let time, let stream, let type, let data):
                let pad = String(repeating: " ", count: widths[0] - number.count)
                var line = [pad + number]
                for (index, cell) in [time, stream, type].enumerated() {
                    line.append(
                        cell + String(repeating: " ", count: widths[index + 1] - cell.count)
                    )
                }
                bytes += fitted(line.joined(separator: "  ") + "  " + data).utf8
                bytes.append(UInt8(ascii: "\n"))
            }
        }
        page.removeAll(keepingCapacity: true)
        try bytes.withUnsafeBytes { try sink.write($0) }
    }

    /// Waits, and notices when the reader ends meanwhile.
    func pause(milliseconds: Int) throws { try sink.pause(milliseconds: milliseconds) }

    private func measure() {
        for case .cells(let number, let time, let stream, let type, _) in page {
            for (index, cell) in [number, time, stream, type].enumerated() {
                widths[index] = max(widths[index], cell.count)
            }
        }
    }

    private func fitted(_ line: String) -> String {
        guard let columns, line.count > columns else { return line }
        return line.prefix(columns - 1) + "…"
    }

    /// Always with six digits, so that times stand below each other.
    private static func text(of time: Timestamp) -> String {
        let text = "\(time)"
        return time.microseconds % 1_000 == 0 ? text.dropLast() + "000Z" : text
    }

    private static func shown(_ text: UnsafeRawBufferPointer, most: Int = longestName) -> String {
        shown(String(decoding: text, as: UTF8.self), most: most)
    }

    /// Without the quotes that messages put around a name.
    private static func shown(_ text: String, most: Int = longestName) -> String {
        String(TextForPeople.shown(text, most: most).dropFirst().dropLast())
    }
}
