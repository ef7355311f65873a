export async function pageSuite() {}
