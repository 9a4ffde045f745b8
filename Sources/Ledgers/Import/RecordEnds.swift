/// What a text is at the end of each record that ends in its first bytes, so that a copy which lost
/// its last line end, or its last records, is still recognised.
struct RecordEnds {
    /// Where the record ends, without its line end, and the last bytes of the digest up to there.
    private let ends: [(end: Int, digest: ArraySlice<UInt8>)]
    /// Whether the first bytes are all of the text.
    private let isWhole: Bool

    /// Bytes that are kept of each digest: a record is compared with the one of its own number only.
    private static let width = 4

    /// Reads the first bytes of a file, at most ``RecordReader/headLength``.
    init(of head: UnsafeRawBufferPointer, form: RecordForm) {
        isWhole = head.count < RecordReader.headLength
        var splitter = RecordSplitter(form)
        var place = head.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0
        if form == .array {
            let rest = UnsafeRawBufferPointer(rebasing: head[place...])
            place += splitter.enterArray(rest) ?? 0
        }
        var isHeader = if case .rows = form { true } else { false }
        var ends: [(Int, ArraySlice<UInt8>)] = []
        let digest = StreamDigest()
        var added = 0
        while place < head.count {
            let rest = UnsafeRawBufferPointer(rebasing: head[place...])
            guard let span = try? splitter.next(in: rest, isAtEnd: isWhole) else { break }
            let end = place + span.text.upperBound
            if !rest[span.text].allSatisfy({ JSONText.isSpace($0) }) {
                digest.add(UnsafeRawBufferPointer(rebasing: head[added..<end]))
                added = end
                if !isHeader { ends.append((end, digest.value.suffix(Self.width))) }
                isHeader = false
            }
            place += span.next
        }
        self.ends = ends
    }

    /// What a ledger keeps of the records that end before a byte.
    func known(through bytes: Int) -> [UInt8] {
        ends.prefix { $0.end <= bytes }.flatMap(\.digest)
    }

    /// How many records the text has, if it is the beginning of what was imported; nil if it is not,
    /// or longer than the first bytes.
    func recordsThatBegin(_ record: ImportRecord) -> Int? {
        guard isWhole, let last = ends.last else { return nil }
        let place = (ends.count - 1) * Self.width
        guard record.headEnds.dropFirst(place).prefix(Self.width).elementsEqual(last.digest) else {
            return nil
        }
        return ends.count
    }
}
