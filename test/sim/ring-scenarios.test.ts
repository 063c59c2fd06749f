import { RING_SCENARIOS, ROW_SCENARIOS } from './ring-scenarios.ts';
import { testScenarios } from './scenario-tests.ts';

testScenarios(
  'a ring change',
  [...RING_SCENARIOS, ...ROW_SCENARIOS],
  /after write|moved|the account shows/,
);
