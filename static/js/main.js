// Starts the parts of the pages; each finds its own elements by their data- attributes.
import { startActions } from "./actions.js";
import { startCopy } from "./copy.js";
import { startFilters } from "./filters.js";
import { startGone } from "./gone.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startMenus } from "./menus.js";
import { startRuns } from "./runs.js";
import { startTimes } from "./times.js";
import { startWorking } from "./working.js";

startTimes();
startCopy();
startActions();
startGone();
startFilters();
startMenus();
startRuns();
startKeys();
startLive();
startWorking();
