internal import LedgerKit
