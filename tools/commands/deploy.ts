/** `anello deploy`: configuration of the programs around Anello, rendered from the cluster document. */
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
  systemdContext,
} from '../deploy/contexts.ts';
import type { ClusterFacts, Member } from '../deploy/facts.ts';
import { render, type TemplateName } from '../deploy/render.ts';
import { addExamples } from '../examples.ts';
import { readInputText } from '../input-file.ts';

type SiteOptions = AuthorityOptions & { readonly site: string };

type EtcdOptions = AuthorityOptions & {
  readonly [option in 'site' | 'state' | 'address' | 'description']?: string;
};

interface UnitOptions {
  readonly config: string;
  readonly data: string;
  readonly disk: readonly string[];
  readonly command: string;
  readonly json?: boolean;
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
      show('haproxy.cfg', haproxyContext(await factsOf(options), options.site, options), options),
    );
  ofSite('nftables', 'what must be open at a site, from where').action(
    async (options: SiteOptions) =>
      show('nftables.conf', nftablesContext(await factsOf(options), options.site), options),
  );
  verb('etcd', "environment of a site's etcd member")
    .option('--site <site>', 'the site it is for')
    .option('--state <store>', 'instead, before the cluster is made: its etcd:https://A:2379,...')
    .option('--address <host>', 'which of them')
    .option('--description <file>', "the cluster's, for its name")
    .action(async (options: EtcdOptions) => show('etcd.env', await etcdOf(options), options));
  verb('prometheus', 'what to scrape, and with --rules when to call somebody')
    .option('--rules', 'the alert rules instead')
    .option('--rules-file <file>', 'where they will stand', 'anello-rules.yml')
    .action(async (options: AuthorityOptions & { rules?: boolean; rulesFile: string }) => {
      const context = prometheusContext(await factsOf(options), options.rulesFile);
      show(options.rules ? 'anello-rules.yml' : 'prometheus.yml', context, options);
    });
  verb('grafana', 'a dashboard').action(async (options: AuthorityOptions) =>
    show('grafana-dashboard.json', grafanaContext(await factsOf(options)), options),
  );
  unitVerb(deploy);
  addExamples(deploy, [
    'anello deploy haproxy --site lngs --certificate /etc/anello/public.pem > /etc/haproxy/haproxy.cfg',
    'anello deploy nftables --site lngs > /etc/nftables.d/anello.nft',
    'anello deploy systemd --disk /srv/disk1 --disk /srv/disk2 > /etc/systemd/system/anello.service',
    'anello deploy etcd --site lngs > /etc/default/etcd',
    'anello deploy prometheus > prometheus.yml',
    'anello deploy prometheus --rules > anello-rules.yml',
    'anello deploy grafana > anello-dashboard.json',
  ]);
}

async function etcdOf(options: EtcdOptions): Promise<ReturnType<typeof etcdMemberContext>> {
  const { site, state, address, description } = options;
  if (site !== undefined) return etcdContext(await factsOf(options), site);
  if (state === undefined || address === undefined || description === undefined)
    throw new OperatingError('wrong-use', '--site, or --state, --address and --description');
  const { name } = parseDescriptionText(readInputText(description));
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
    .option('--json', 'what was filled in, beside the text')
    .action(({ config, data, disk: disks, command, json }: UnitOptions) =>
      show('anello.service', systemdContext({ config, data, disks, command }), { json }),
    );
}

function show(
  name: TemplateName,
  context: object,
  { json }: { readonly json?: boolean | undefined },
): void {
  const text = render(name, context);
  if (json) console.log(JSON.stringify({ name, text, values: context }, null, 2));
  else process.stdout.write(text);
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
