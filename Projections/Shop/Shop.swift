// placeholder
let s = PackageResources.schema_sql
