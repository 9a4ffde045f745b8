import TestSupport
import Testing

/// What others have on and around live tables, in sets that would rarely stand in one test.
@Suite("Strange objects around a live table")
struct StrangeSetTests {
    @Test(
        "types, operators and access methods of extensions stay with what uses them",
        arguments: StrangeCase.all(of: StrangeSet.extensions)
    )
    func extensions(_ strange: StrangeCase) async throws { try await strange.holds() }

    @Test(
        "what stands on the table stays (S12)",
        arguments: StrangeCase.all(of: StrangeSet.onTables)
    )
    func onTables(_ strange: StrangeCase) async throws { try await strange.holds() }

    @Test(
        "keys, constraints and indexes stay",
        arguments: StrangeCase.all(of: StrangeSet.constraints)
    )
    func constraints(_ strange: StrangeCase) async throws { try await strange.holds() }

    @Test(
        "views, rules and functions stay what they are and read the new rows",
        arguments: StrangeCase.all(of: StrangeSet.readers)
    )
    func readers(_ strange: StrangeCase) async throws { try await strange.holds() }

    @Test(
        "rights, roles and names stay as they are (S12)",
        arguments: StrangeCase.all(of: StrangeSet.rightsAndNames)
    )
    func rightsAndNames(_ strange: StrangeCase) async throws { try await strange.holds() }

    @Test(
        "neighbours in the schema are not touched, and what cannot follow is refused by name",
        arguments: StrangeCase.all(of: StrangeSet.neighbours)
    )
    func neighbours(_ strange: StrangeCase) async throws { try await strange.holds() }
}
