/// What a swap does only when it was told that it may, because others notice it.
package struct CarryOverConsent: Equatable, Sendable {
    /// Whether published tables are swapped: subscribers do not get the rebuilt rows, and keep the
    /// old ones until they copy the table anew.
    package var republishes: Bool
    /// Whether foreign keys of other tables that refer to live ones are made again: those tables
    /// are locked with the live ones, and checked afterwards.
    package var recreatesIncomingForeignKeys: Bool

    /// Whether readers may lose tables, and what was put onto live tables by hand.
    package var acceptsLoss: Bool
    /// Whether live tables of a role that nobody has named are taken over.
    package var adoptsStrangers: Bool

    /// Makes a consent.
    package init(
        republishes: Bool = false,
        recreatesIncomingForeignKeys: Bool = false,
        acceptsLoss: Bool = false,
        adoptsStrangers: Bool = false
    ) {
        self.republishes = republishes
        self.recreatesIncomingForeignKeys = recreatesIncomingForeignKeys
        self.acceptsLoss = acceptsLoss
        self.adoptsStrangers = adoptsStrangers
    }
}
