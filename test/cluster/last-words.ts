/** After a failed test: what the clusters that it used said last, which is gone with their folders. */
import { afterEach } from 'vitest';
import { Cluster, lastWords } from './cluster.ts';

afterEach(({ task }) => {
  if (task.result?.state !== 'fail') return;
  for (const cluster of Cluster.running) console.error(lastWords(cluster));
});
