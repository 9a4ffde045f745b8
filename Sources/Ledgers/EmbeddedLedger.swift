/// What is done to the embedded ledger as a file.
package enum EmbeddedLedger {
    /// Makes an empty one, which only its owner can read and write.
    ///
    /// - Parameters:
    ///   - path: Where; there must be nothing.
    ///   - bucketWidth: Milliseconds, 1 or more. It never changes afterwards.
    /// - Throws: ``LedgerError``; then there is no file.
    package static func create(path: String, bucketWidth: Int64) throws {
        try LedgerFile.create(path: path, header: .init(bucketWidth: bucketWidth))
    }
}
