/** All interleavings that are placed by hand, and how one is played. */
import { DEVICE_SCENARIOS } from './device-scenarios.ts';
import { LISTING_SCENARIOS } from './listing-scenarios.ts';
import { LOG_SCENARIOS, playOnDevice } from './log-scenarios.ts';
import { QUORUM_SCENARIOS } from './quorum-scenarios.ts';
import { RING_SCENARIOS, ROW_SCENARIOS } from './ring-scenarios.ts';
import { ROUND_SCENARIOS } from './rounds-scenarios.ts';
import { SERVICE_SCENARIOS } from './service-scenarios.ts';
import { Stage, type StagedScenario } from './stage.ts';

export interface Scenario {
  readonly name: string;
  /** Below `mutants.ts`: what breaks it. */
  readonly mutants: readonly string[];
  play(): Promise<void>;
}

const ON_OBJECTS = [
  ...RING_SCENARIOS,
  ...ROUND_SCENARIOS,
  ...DEVICE_SCENARIOS,
  ...QUORUM_SCENARIOS,
  ...SERVICE_SCENARIOS,
  ...LISTING_SCENARIOS,
];

export const SCENARIOS: readonly Scenario[] = [
  ...ON_OBJECTS.map((scenario) => staged(scenario, 'objects')),
  ...ROW_SCENARIOS.map((scenario) => staged(scenario, 'rows')),
  ...LOG_SCENARIOS.map((scenario) => ({ ...scenario, play: () => playOnDevice(scenario) })),
];

function staged(scenario: StagedScenario, moved: 'objects' | 'rows'): Scenario {
  const play = (): Promise<void> => {
    const stage = new Stage(moved);
    return stage.world.run(stage.create().then(() => scenario.run(stage)));
  };
  return { ...scenario, play };
}

export async function runScenario(name: string): Promise<void> {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario: ${name}`);
  await scenario.play();
}
