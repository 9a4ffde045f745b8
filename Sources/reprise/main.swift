import Projections
import RepriseCommand

await Reprise.main(projections: registeredProjections)
