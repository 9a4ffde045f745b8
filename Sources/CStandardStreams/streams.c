#include "CStandardStreams.h"

#include <errno.h>
#include <fcntl.h>

// Opens the standard streams that the caller has closed (`>&-`): so that nothing is read, errors go
// nowhere, and what is written to standard output fails. Before `main`, because the runtime opens
// descriptors of its own, which would take the free numbers and be written to.
__attribute__((constructor)) static void open_standard_streams(void) {
    for (int descriptor = 0; descriptor <= 2; descriptor++) {
        if (fcntl(descriptor, F_GETFD) == -1 && errno == EBADF) {
            // The lowest free number is the one that is missing, because they come in order.
            (void)open("/dev/null", descriptor == 2 ? O_WRONLY : O_RDONLY);
        }
    }
}
