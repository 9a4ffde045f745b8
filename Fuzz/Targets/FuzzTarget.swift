/// A reader of bytes that others write, with what has to hold for each input.
enum FuzzTarget: String, CaseIterable, Sendable {
    case json
    case payload
    case records
    case csv
    case times
    case copyRows = "copy-rows"
    case columns
    case positions
    case settings
    case arguments
    case connections
    case sql
    case renamedText = "renamed-text"
    case storedTrees = "stored-trees"

    /// Reads an input.
    ///
    /// - Throws: ``FuzzFailure`` when something does not hold; other errors are failures as well.
    func run(_ input: [UInt8]) throws {
        switch self {
        case .json: try JSONCheck.run(input)
        case .payload: try PayloadCheck.run(input)
        case .records: try RecordsCheck.run(input)
        case .csv: try CSVCheck.run(input)
        case .times: try TimesCheck.run(input)
        case .copyRows: try CopyRowsCheck.run(input)
        case .columns: try ColumnsCheck.run(input)
        case .positions: try PositionsCheck.run(input)
        case .settings: try SettingsCheck.run(input)
        case .arguments: try ArgumentsCheck.run(input)
        case .connections: try ConnectionsCheck.run(input)
        case .sql: try SQLCheck.run(input)
        case .renamedText: try RenamedTextCheck.run(input)
        case .storedTrees: try StoredTreesCheck.run(input)
        }
    }
}

/// What does not hold for an input.
struct FuzzFailure: Error, CustomStringConvertible {
    let description: String
}

/// Throws unless it holds.
func require(_ holds: Bool, _ claim: @autoclosure () -> String) throws {
    if !holds { throw FuzzFailure(description: "it does not hold that \(claim())") }
}

extension [UInt8] {
    /// Lends the bytes with exactly as many behind them as may be looked at, so that one more is found.
    func withPadding<Result>(
        _ padding: Int,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: count + padding,
            alignment: 1
        )
        defer { memory.deallocate() }
        memory.copyBytes(from: self)
        for index in count..<memory.count { memory[index] = 0 }
        return try body(UnsafeRawBufferPointer(rebasing: memory[..<count]))
    }

    /// The parts between zero bytes, as texts; fewer than wanted are empty.
    func texts(_ wanted: Int) -> [String] {
        let parts = split(separator: 0, maxSplits: wanted - 1, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        return parts + Array<String>(repeating: "", count: Swift.max(0, wanted - parts.count))
    }
}
