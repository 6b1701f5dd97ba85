import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { CodedError, codeOf } from '../src/errors.js';
import { Clips } from './engine/clip.js';
import { machine, versions } from './engine/machine.js';
import { measure } from './engine/measure.js';
import { benchOptions, engineUsage } from './engine/options.js';
import { apiCommand, apiUsage } from './api/command.js';
import { readAnyReport } from './report/api.js';
import { compareApiReports, compareReports, comparisonTable } from './report/compare.js';
import { writeReport } from './report/write.js';
import type { Report } from './report/schema.js';
import { summary } from './report/summary.js';
import { rooflineCommand, rooflineUsage } from './roofline/command.js';
import { measuredRoofline } from './roofline/measured.js';
import { rooflineTable } from './roofline/report.js';

/** Other measurements: programs of their own beside this file. */
