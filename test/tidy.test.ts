/**
 * The layout's rules, checked: a folder imports only folders with a lower number, the effects are
 * reached only where they may be, files stay one noun, every folder of src says what it is.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');
const SRC = path.join(ROOT, 'src');

const LAYERS: Readonly<Record<string, number>> = {
  base: 0,
  env: 1,
  config: 1,
  ring: 2,
  worker: 2,
  wire: 3,
  state: 3,
  device: 3,
  rows: 3,
  object: 4,
  container: 4,
  account: 4,
  identity: 4,
  authority: 4,
  repair: 5,
  proxy: 5,
  auth: 5,
  api: 6,
  console: 7,
  main: 8,
};

/**
 * Inside one layer: the row sink and the calls are contracts (types and constants) between neighbours
 * that meet over the log and the wire; the code behind them is never imported.
 */
const CONTRACTS = /^#(device\/contract|object\/calls|container\/calls)\.ts$/;

const AMBIENT = [
  /\bDate\.now\(/,
  /\bMath\.random\(/,
  /\bsetTimeout\(/,
  /\bsetInterval\(/,
  /\bprocess\.env\b/,
];
const AMBIENT_MODULES = /from '(node:)?(fs|fs\/promises|net|http|https|dns|tls)'/;
/** Of node:net what only looks at text. */
const PURE_OF_NET = /^import \{ (?:(?:BlockList|isIP|isIPv4|isIPv6)(?:, )?)+ \} from 'node:net';$/;
/** The HTTP edge handles node's own requests and timers; main and env/node are the effects. */
const MAY_BE_AMBIENT = /^(env\/node|main|api)\//;

const MAX_LINES = 500;

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const file = path.join(folder, name);
    return statSync(file).isDirectory() ? filesBelow(file) : [file];
  });
}

const sources = filesBelow(SRC).filter((file) => file.endsWith('.ts'));
const product = sources.filter(
  (file) => !/\.(test|contract)\.ts$/.test(file) && !/\/testing\//.test(file),
);

function relative(file: string): string {
  return path.relative(SRC, file).split(path.sep).join('/');
}

function importsOf(text: string): { spec: string }[] {
  const statements = text.matchAll(/^(?:import|export)\s+(?:[^;'"]*?\s+from\s+)?'([^']+)';/gms);
  return [...statements].map((match) => ({ spec: match[1]! }));
}

describe('layout of src', () => {
  it('knows every folder', () => {
    const folders = readdirSync(SRC).filter((name) => statSync(path.join(SRC, name)).isDirectory());
    expect(folders.filter((name) => LAYERS[name] === undefined)).toEqual([]);
  });

  it('imports only lower layers, and crosses folders by #', () => {
    const wrong: string[] = [];
    for (const file of product) {
      const from = relative(file).split('/')[0]!;
      for (const { spec } of importsOf(readFileSync(file, 'utf8'))) {
        if (spec.startsWith('..')) {
          const target = relative(path.resolve(path.dirname(file), spec)).split('/')[0];
          if (target !== from) wrong.push(`${relative(file)} reaches out by ${spec}`);
        }
        if (!spec.startsWith('#')) continue;
        const to = spec.slice(1).split('/')[0]!;
        if (to === from || LAYERS[to]! < LAYERS[from]!) continue;
        if (CONTRACTS.test(spec) && LAYERS[to] === LAYERS[from]) continue;
        wrong.push(
          `${relative(file)} (layer ${LAYERS[from]}) imports ${spec} (layer ${LAYERS[to]})`,
        );
      }
    }
    expect(wrong).toEqual([]);
  });

  it('reaches time, chance, files and sockets only through env', () => {
    const wrong: string[] = [];
    for (const file of product) {
      if (MAY_BE_AMBIENT.test(relative(file))) continue;
      const text = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
      for (const pattern of AMBIENT)
        if (pattern.test(text)) wrong.push(`${relative(file)}: ${pattern}`);
      for (const line of text.split('\n')) {
        if (PURE_OF_NET.test(line)) continue;
        if (AMBIENT_MODULES.test(line) && !/^import type|\{ type /.test(line))
          wrong.push(`${relative(file)}: ${line.trim()}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('keeps files short enough to be one noun', () => {
    const long = product
      .map((file) => ({
        file: relative(file),
        lines: readFileSync(file, 'utf8').split('\n').length,
      }))
      .filter(({ lines }) => lines > MAX_LINES);
    expect(long).toEqual([]);
  });

  it('has a README in each folder', () => {
    const folders = readdirSync(SRC).filter((name) => filesBelow(path.join(SRC, name)).length > 0);
    const missing = folders
      .flatMap((name) =>
        name === 'api' ? readdirSync(path.join(SRC, name)).map((sub) => `api/${sub}`) : [name],
      )
      .filter((name) => !existsSync(path.join(SRC, name, 'README.md')));
    expect(missing).toEqual([]);
  });
});

describe('what is committed', () => {
  it('is erasable TypeScript: no enum, namespace, parameter property or decorator', () => {
    const wrong = sources.filter((file) =>
      /^\s*(export\s+)?(const\s+)?enum\s|^\s*namespace\s/m.test(readFileSync(file, 'utf8')),
    );
    expect(wrong.map(relative)).toEqual([]);
  });

  it('leaves no test switched off', () => {
    const wrong = sources.filter(
      (file) =>
        file.endsWith('.test.ts') &&
        /\b(it|describe|test)\.(only|todo)\b/.test(readFileSync(file, 'utf8')),
    );
    expect(wrong.map(relative)).toEqual([]);
  });
});
