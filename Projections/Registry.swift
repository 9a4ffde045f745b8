internal import FulfilmentProjection
internal import LoansProjection
public import ProjectionKit
internal import ShopProjection

/// Every projection that `reprise` knows, in the order `reprise plan` lists them.
///
/// Adding one is a new folder beside this file, a target for it in `Package.swift` and a new entry
/// here. Nothing is discovered at run time.
public let registeredProjections: [any Projection.Type] = [
    Shop.self,
    Loans.self,
    Fulfilment.self,
]
