/// The majors of PostgreSQL with which everything that meets a server is tested.
///
/// Older ones are refused, newer ones get a warning. Scripts, pages and CI take the list from here, by
/// `scripts/server-programs --list`.
package enum TestedMajors {
    package static let all = [15, 16, 17, 18]

    package static var oldest: Int { all.min() ?? 0 }
    package static var newest: Int { all.max() ?? 0 }
    /// In words.
    package static var range: String { "PostgreSQL \(oldest) to \(newest)" }
}
