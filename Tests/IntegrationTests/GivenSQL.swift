/// The SQL files of a test's projection, for the time of a test: a projection declares its files as
/// statics, and a test wants to vary them.
///
/// Bind them around everything that reads the projection, such as a plan or a rebuild.
enum GivenSQL {
    @TaskLocal static var schema: String?
    @TaskLocal static var setup: String?
    @TaskLocal static var checks: String?
}
