/// Why a payload does not give what was asked of it.
public struct PayloadError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The JSON path, such as `$.lines[2].sku`.
    public let path: String
    /// What is wrong with it, as a clause; never the value itself.
    public let reason: String

    /// Makes the error.
    public init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    /// `$.orderId is missing`.
    public var description: String { "\(path) \(reason)" }
}
