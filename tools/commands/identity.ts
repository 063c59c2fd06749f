/** `anello identity map --test CERT`: what a client certificate would get, without a server. */
import path from 'node:path';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { OperatingError } from '#base/errors.ts';
import { parseNodeConfig } from '#config/node-config.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { Grid, type GridProof } from '#identity/grid.ts';
import { pemBlocks } from '#identity/x509/certificate.ts';
import { printJson } from '../identity/output.ts';
import { readInput, readInputText } from '../input-file.ts';
import { gridFiles } from '../up/demo-grid.ts';

interface MapOptions {
  readonly test: string;
  readonly data: string;
  readonly config?: string;
  readonly rules?: string;
  readonly ca?: string;
  readonly voms?: string;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('identity')
    .description('whom client certificates lead to')
    .command('map')
    .description('what a certificate would get: user, project, roles (offline)')
    .requiredOption('--test <cert>', 'PEM: the certificate, or a proxy with its chain, leaf first')
    .option('--data <dir>', "the rules of a cluster's data folder", './data')
    .option('--config <file>', "the rules that a node's file names")
    .option('--rules <file>', 'other rules')
    .option('--ca <dir>', 'other authorities, as /etc/grid-security/certificates')
    .option('--voms <dir>', 'other VOMS servers, as /etc/grid-security/vomsdir')
    .option('--json', 'machine-readable output')
    .addHelpText('after', '\nExample:\n  anello identity map --test /tmp/x509up_u1000')
    .action((options: MapOptions) => map(options));
}

async function map(options: MapOptions): Promise<void> {
  const chain = pemBlocks(readInput(options.test).toString('latin1'), 'CERTIFICATE');
  if (chain.length === 0)
    throw new OperatingError('bad-certificate', `${options.test}: no certificate in it`);
  const env = createNodeEnv({ logLevel: 'warn' });
  const grid = new Grid({ env, ...filesOf(options), parseRules: parse });
  try {
    await grid.start();
    const proof = grid.prove(chain);
    if (options.json) printJson({ ...proof.mapped, ...factsOf(proof) });
    else print(proof);
  } finally {
    grid.close();
    await env.close();
  }
}

function filesOf({ config, data, rules, ca, voms }: MapOptions) {
  const { caFolder, vomsFolder, rulesFile } =
    config === undefined ? gridFiles(path.resolve(data)) : mappingOf(config);
  const found = { caFolder: ca ?? caFolder, rulesFile: rules ?? rulesFile };
  if (found.caFolder === undefined || found.rulesFile === undefined)
    throw new OperatingError('wrong-use', 'the node file names no rules: give --rules and --ca');
  return { caFolder: found.caFolder, rulesFile: found.rulesFile, vomsFolder: voms ?? vomsFolder };
}

function mappingOf(config: string): { caFolder?: string; vomsFolder?: string; rulesFile?: string } {
  return parseNodeConfig(readInputText(config)).mapping ?? {};
}

function factsOf({ subject, fqans, limited, expiresMs }: GridProof) {
  return { subject, fqans, limited, expires: new Date(expiresMs).toISOString() };
}

function print(proof: GridProof): void {
  const { rule, user, domainId, project, roles, groups } = proof.mapped;
  const { subject, fqans, limited, expires } = factsOf(proof);
  const lines = [
    ['subject', subject],
    ['attributes', fqans.join(', ') || 'none'],
    ['rule', rule || '(without a name)'],
    ['user', `${user} (domain ${domainId})`],
    ['project', project],
    ['roles', roles.join(', ') || 'only what is granted'],
    ['groups', groups.join(', ') || 'none'],
    ['until', `${expires}${limited ? ', limited' : ''}`],
  ];
  for (const [name, value] of lines) console.log(`${name!.padEnd(11)} ${value}`);
}
