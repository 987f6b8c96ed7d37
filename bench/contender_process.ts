/**
 * A process that runs one system, so that systems share neither memory nor an engine. Started by
 * contender.ts.
 */
import { serve } from "./serve.ts";
import { startSystem } from "./start.ts";

if (import.meta.main) await serve(startSystem);
