/** `anello link`: the long links of a cluster on one machine, cut and mended, to see what it does then. */
import type { Command } from 'commander';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { askNodes } from '../device/ask-nodes.ts';
import { addEndpointOptions, type EndpointOptions, sendJson, storageUrls } from '../endpoint.ts';

export function register(program: Command): void {
  const link = program
    .command('link')
    .description('the links between sites of a cluster that was started with --rtt');
  addEndpointOptions(link.command('cut'))
    .description('cuts sites off: nothing passes between them and the others, and nobody is told')
    .argument('<site...>', 'all that are cut off; others are mended')
    .addHelpText('after', '\nExample:\n  anello link cut bari; sleep 60; anello link mend')
    .action((sites: readonly string[], options: EndpointOptions) => cut(sites, options));
  addEndpointOptions(link.command('mend'))
    .description('no site is cut off any more; what waited passes')
    .addHelpText('after', '\nExample:\n  anello link mend')
    .action((options: EndpointOptions) => cut([], options));
}

async function cut(sites: readonly string[], options: EndpointOptions): Promise<void> {
  const done = z.object({ cut: z.array(z.string()) });
  const ask = (url: string) => sendJson('POST', `${url}/links/cut`, { sites });
  const nodes = await askNodes(options, done, ask);
  const silent = storageUrls(options).filter(
    ({ name }) => !nodes.some(({ node }) => node === name),
  );
  if (silent.length > 0) {
    const names = silent.map(({ name }) => name).join(', ');
    throw new OperatingError('no-answer', `${names}: links are as they were; say it again`);
  }
  if (options.json) return console.log(JSON.stringify({ nodes }, null, 2));
  for (const { node, value } of nodes)
    console.log(
      `${node}: ${value.cut.length === 0 ? 'reaches all' : `cut from ${value.cut.join(', ')}`}`,
    );
}
