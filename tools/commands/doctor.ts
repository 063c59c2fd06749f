/** `anello doctor`: does what common clients do against an endpoint, and tells what went wrong. */
import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { OperatingError } from '#base/errors.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { printTable } from '../authority/table.ts';
import { Examination, type Finding } from '../doctor/examination.ts';
import { HttpClient, type Trust } from '../doctor/http.ts';
import { type Logins, loginsAt, loginsOf } from '../doctor/logins.ts';
import { awscli, boto3, rcloneS3 } from '../doctor/s3-clients.ts';
import { S3Client } from '../doctor/sigv4.ts';
import { glance, rcloneSwift, swiftclient } from '../doctor/swift-clients.ts';
import { readInputText } from '../input-file.ts';

interface Options {
  readonly data: string;
  readonly client?: string;
  readonly ca?: string;
  readonly insecure?: boolean;
  readonly json?: boolean;
}

/** Steps of all clients, for the bar. */
const STEPS = 49;

type Visit = (place: string, exam: Examination) => Promise<void>;

export function register(program: Command): void {
  program
    .command('doctor')
    .description(
      'do what awscli, boto3, rclone, swiftclient and Glance do, and tell what went wrong',
    )
    .argument('[url]', 'an endpoint of S3, Swift and Keystone; default: the cluster of --data')
    .option('--data <dir>', "the cluster's data folder (reads access.json there)", './data')
    .option('--client <name>', 'only this one: awscli, boto3, rclone, swiftclient or glance')
    .option('--ca <file>', 'PEM of an authority to trust for https')
    .option('--insecure', 'take any certificate')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
With a URL it logs in with the usual variables: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (S3),
OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME and perhaps OS_AUTH_URL (Keystone), ST_USER and ST_KEY and
perhaps ST_AUTH (v1). Clients without theirs are skipped. It works in containers of its own, which it
removes. Exit 1: something failed.

Examples:
  anello doctor
  anello doctor https://store.example.org --client boto3 --json`,
    )
    .action(doctor);
}

async function doctor(url: string | undefined, options: Options): Promise<void> {
  const logins = url === undefined ? loginsOf(options.data) : loginsAt(url);
  const ca = options.ca ?? logins.caFile;
  const trust: Trust = {
    ...(ca !== undefined && { ca: readInputText(ca) }),
    ...(options.insecure && { insecure: true }),
  };
  const wanted = visits(logins, trust).filter(
    ([name]) => options.client === undefined || name.split(' ')[0] === options.client,
  );
  if (wanted.length === 0)
    throw new OperatingError('wrong-use', `--client ${options.client}: there is no such client`);
  const bar = options.json ? undefined : new ProgressBar('stderr');
  const findings: Finding[] = [];
  const tell = (finding: Finding): void => {
    findings.push(finding);
    bar?.show(Math.min(findings.length, STEPS), STEPS, `${finding.client}: ${finding.step}`);
  };
  for (const [name, visit] of wanted) await examine(name, visit, tell);
  bar?.clear();
  if (options.json) console.log(JSON.stringify(findings, null, 2));
  else print(findings);
  if (findings.some(({ result }) => result === 'failed')) process.exitCode = 1;
  if (findings.every(({ result }) => result === 'skipped'))
    throw new OperatingError('wrong-use', 'no client had what it needs to log in');
}

/** A string instead of a visit says what is missing. */
function visits(
  { s3, swift, keystone }: Logins,
  trust: Trust,
): readonly (readonly [string, Visit | string])[] {
  const client = s3 && new S3Client(new HttpClient(s3.endpoint, trust), s3);
  const noKeys = 'no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY';
  const noUser = 'no ST_USER and ST_KEY';
  const noProject = 'no OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME';
  return [
    ['awscli', client ? (bucket, exam) => awscli(client, bucket, exam) : noKeys],
    ['boto3', client ? (bucket, exam) => boto3(client, bucket, exam) : noKeys],
    ['rclone (S3)', client ? (bucket, exam) => rcloneS3(client, bucket, exam) : noKeys],
    ['swiftclient', swift ? (box, exam) => swiftclient(swift, trust, box, exam) : noUser],
    [
      'rclone (Swift)',
      keystone ? (box, exam) => rcloneSwift(keystone, trust, box, exam) : noProject,
    ],
    ['glance', keystone ? (box, exam) => glance(keystone, trust, box, exam) : noProject],
  ];
}

async function examine(
  name: string,
  visit: Visit | string,
  tell: (finding: Finding) => void,
): Promise<void> {
  const exam = new Examination(name, tell);
  if (typeof visit === 'string') return exam.skip('all', visit);
  await visit(`anello-doctor-${randomBytes(6).toString('hex')}`, exam);
}

function print(findings: readonly Finding[]): void {
  printTable(
    ['client', 'what it does', 'result', 'ms', 'note'],
    findings.map(({ client, step, result, ms, note }) => [
      client,
      step,
      result === 'failed' ? 'FAILED' : result,
      result === 'skipped' ? '' : ms.toFixed(0),
      note,
    ]),
  );
  const failed = findings.filter(({ result }) => result === 'failed').length;
  console.log(failed === 0 ? 'nothing failed' : `${failed} of ${findings.length} steps failed`);
}
