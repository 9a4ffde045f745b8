/// The majors of PostgreSQL with which everything that meets a server is tested.
///
/// Scripts, pages and CI take the list from here, by `scripts/server-programs --list`.
enum TestedMajors {
    static let all = [15, 16, 17, 18]

    static var newest: Int { all.max() ?? 0 }
}
