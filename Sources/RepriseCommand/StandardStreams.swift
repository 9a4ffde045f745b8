internal import Glibc

/// Descriptors 0, 1 and 2, which a program that was started without them must not give to anything else.
enum StandardStreams {
    /// Opens those that are closed: so that nothing is read, errors go nowhere, and what is written to
    /// standard output fails.
    static func open() {
        for descriptor in 0...2 where fcntl(Int32(descriptor), F_GETFD) == -1 && errno == EBADF {
            // The lowest free number is the one that is missing, because they come in order.
            _ = Glibc.open("/dev/null", descriptor == 2 ? O_WRONLY : O_RDONLY)
        }
    }
}
