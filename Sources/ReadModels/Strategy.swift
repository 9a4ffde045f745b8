/// How the live tables get their new rows.
package enum Strategy: String, CaseIterable, Sendable {
    /// New tables are built aside and change places with the live ones. Readers are held up for
    /// milliseconds; the old tables stay as the retired generation.
    case swap
    /// The rows of the live tables are replaced in place, in one transaction. Readers are held up
    /// for the COPY and the indexes; OIDs and everything bound to them stay; there is no way back.
    case truncate
}
