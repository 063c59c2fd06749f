/** `anello deploy`: configuration of the programs around Anello, rendered from the cluster document. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Document } from '#authority/document.ts';
import { OperatingError } from '#base/errors.ts';
import { parseDescriptionText } from '#ring/description.ts';
import {
  AuthorityClient,
  type AuthorityOptions,
  addAuthorityOptions,
} from '../authority/client.ts';
import {
  etcdContext,
  etcdMemberContext,
  grafanaContext,
  type HaproxyOptions,
  haproxyContext,
  nftablesContext,
  prometheusContext,
} from '../deploy/contexts.ts';
import type { ClusterFacts, Member } from '../deploy/facts.ts';
import { render } from '../deploy/render.ts';

type SiteOptions = AuthorityOptions & { readonly site: string };

type EtcdOptions = AuthorityOptions & {
  readonly [option in 'site' | 'state' | 'address' | 'description']?: string;
};

interface UnitOptions {
  readonly config: string;
  readonly data: string;
  readonly disk: readonly string[];
  readonly command: string;
}

export function register(program: Command): void {
  const deploy = program
    .command('deploy')
    .description('configuration of HAProxy, systemd, nftables, etcd, Prometheus and Grafana');
  const verb = (name: string, text: string): Command =>
    addAuthorityOptions(deploy.command(name).description(text));
  const ofSite = (name: string, text: string): Command =>
    verb(name, text).requiredOption('--site <site>', 'the site it is for');
  ofSite('haproxy', 'one name for Swift, S3 and Keystone; local proxies first')
    .option('--bind <address>', 'where it listens; default: everywhere')
    .option('--port <port>', 'public port', '443')
    .option('--certificate <file>', 'PEM with key and chain; without it plain HTTP')
    .option('--proxy-tls', 'the proxies speak HTTPS themselves')
    .option('--ca-file <file>', "authority of the proxies' certificates")
    .option('--runtime <socket>', "HAProxy's own socket for operators")
    .action(async (options: SiteOptions & HaproxyOptions) =>
      print(render('haproxy.cfg', haproxyContext(await factsOf(options), options.site, options))),
    );
  ofSite('nftables', 'what must be open at a site, from where').action(
    async (options: SiteOptions) =>
      print(render('nftables.conf', nftablesContext(await factsOf(options), options.site))),
  );
  verb('etcd', "environment of a site's etcd member")
    .option('--site <site>', 'the site it is for')
    .option('--state <store>', 'instead, before the cluster is made: its etcd:https://A:2379,...')
    .option('--address <host>', 'which of them')
    .option('--description <file>', "the cluster's, for its name")
    .action(async (options: EtcdOptions) => print(render('etcd.env', await etcdOf(options))));
  verb('prometheus', 'what to scrape, and with --rules when to call somebody')
    .option('--rules', 'the alert rules instead')
    .option('--rules-file <file>', 'where they will stand', 'anello-rules.yml')
    .action(async (options: AuthorityOptions & { rules?: boolean; rulesFile: string }) => {
      const context = prometheusContext(await factsOf(options), options.rulesFile);
      print(render(options.rules ? 'anello-rules.yml' : 'prometheus.yml', context));
    });
  verb('grafana', 'a dashboard').action(async (options: AuthorityOptions) =>
    print(render('grafana-dashboard.json', grafanaContext(await factsOf(options)))),
  );
  unitVerb(deploy);
}

async function etcdOf(options: EtcdOptions): Promise<ReturnType<typeof etcdMemberContext>> {
  const { site, state, address, description } = options;
  if (site !== undefined) return etcdContext(await factsOf(options), site);
  if (state === undefined || address === undefined || description === undefined)
    throw new OperatingError('wrong-use', '--site, or --state, --address and --description');
  const { name } = parseDescriptionText(readFileSync(description, 'utf8'));
  return etcdMemberContext({ name, state }, [address]);
}

function unitVerb(deploy: Command): void {
  const collect = (value: string, all: readonly string[]): string[] => [...all, value];
  deploy
    .command('systemd')
    .description('the unit of a node')
    .option('--config <file>', "the machine's own file", '/etc/anello/node.yaml')
    .option('--data <dir>', "the node's own folder", '/var/lib/anello')
    .option('--disk <folder>', 'a disk for data; may be repeated', collect, [])
    .option('--command <path>', 'where anello is', '/usr/bin/anello')
    .action(({ config, data, disk: disks, command }: UnitOptions) =>
      print(render('anello.service', { config, data, disks, command })),
    );
}

function print(text: string): void {
  process.stdout.write(text);
}

async function factsOf(options: AuthorityOptions): Promise<ClusterFacts> {
  const client = new AuthorityClient(options);
  const [{ version }, document, members] = await Promise.all([
    client.get<{ version: number }>('/v1/status'),
    client.get<Document>('/v1/document'),
    client.get<Member[]>('/v1/nodes'),
  ]);
  return { version, document, members };
}
