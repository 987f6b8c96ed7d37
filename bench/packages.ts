/** The benchmark's own packages, apart from the project's, so that nobody else has to fetch them. */
import configuration from "./deno.json" with { type: "json" };

/** Package specifiers by name, with exact versions. */
export const { imports } = configuration;
