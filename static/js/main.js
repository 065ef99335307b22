// Starts the parts of the pages; each finds its own elements by their data- attributes.
import { startActions } from "./actions.js";
import { startCopy } from "./copy.js";
import { startFilters } from "./filters.js";
import { startLive } from "./live.js";
import { startTimes } from "./times.js";

startTimes();
startCopy();
startActions();
startFilters();
startLive();
