/** All interleavings that are placed by hand, and how one is played. */
import { DEVICE_SCENARIOS } from './device-scenarios.ts';
import { RING_SCENARIOS, type RingScenario, ROW_SCENARIOS, Stage } from './ring-scenarios.ts';
import { ROUND_SCENARIOS } from './rounds-scenarios.ts';

export const SCENARIOS: readonly RingScenario[] = [
  ...RING_SCENARIOS,
  ...ROW_SCENARIOS,
  ...ROUND_SCENARIOS,
  ...DEVICE_SCENARIOS,
];

export async function runScenario(name: string): Promise<void> {
  const scenario = SCENARIOS.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario: ${name}`);
  const stage = new Stage(ROW_SCENARIOS.includes(scenario) ? 'rows' : 'objects');
  await stage.world.run(
    (async () => {
      await stage.create();
      await scenario.run(stage);
    })(),
  );
}
