import Foundation

/// Which program this is: what another one has begun may have been folded by another reducer.
enum ProgramIdentity {
    /// Size and time of the executable, such as `41237504-1767225600.25`.
    ///
    /// A copy that was installed anew counts as another program: whoever is told so rebuilds, and
    /// loses time and nothing else.
    static let current: String? = {
        guard
            let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"),
            let facts = try? FileManager.default.attributesOfItem(atPath: path),
            let size = facts[.size] as? NSNumber, let date = facts[.modificationDate] as? Date
        else { return nil }
        return "\(size)-\(date.timeIntervalSince1970)"
    }()
}
