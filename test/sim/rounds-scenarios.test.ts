import { ROUND_SCENARIOS } from './rounds-scenarios.ts';
import { testScenarios } from './scenario-tests.ts';

testScenarios('conditional rounds', ROUND_SCENARIOS, /saw nothing|is lost|not within/);
