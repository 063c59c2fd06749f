import { DEVICE_SCENARIOS } from './device-scenarios.ts';
import { LISTING_SCENARIOS } from './listing-scenarios.ts';
import { LOG_SCENARIOS } from './log-scenarios.ts';
import { QUORUM_SCENARIOS } from './quorum-scenarios.ts';
import { testScenarios } from './scenario-tests.ts';
import { SERVICE_SCENARIOS } from './service-scenarios.ts';

const ALL = [
  ...DEVICE_SCENARIOS,
  ...LOG_SCENARIOS,
  ...QUORUM_SCENARIOS,
  ...SERVICE_SCENARIOS,
  ...LISTING_SCENARIOS,
];

testScenarios(
  'devices',
  ALL,
  /shows here|deleted what came later|came back|is not found|is not listed|another version|is still held|had to be made anew/,
);
