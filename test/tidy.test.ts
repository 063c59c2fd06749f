/**
 * The layout's rules, checked: a folder imports only folders with a lower number, the effects are
 * reached only where they may be, files stay one noun, every folder of src says what it is, what is
 * no longer used goes.
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

const everything = ['src', 'tools', 'test', 'deploy', 'rings', '.ci'].flatMap((folder) =>
  filesBelow(path.join(ROOT, folder)),
);
const typescript = everything.filter((file) => file.endsWith('.ts'));
const sources = typescript.filter((file) => file.startsWith(SRC + path.sep));
const product = sources.filter(
  (file) => !/\.(test|debian|contract)\.ts$/.test(file) && !/\/testing\//.test(file),
);

const texts = new Map<string, string>();

/** Read once: most of these checks look at every file. */
function textOf(file: string): string {
  let text = texts.get(file);
  if (text === undefined) texts.set(file, (text = readFileSync(file, 'utf8')));
  return text;
}

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
      for (const { spec } of importsOf(textOf(file))) {
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
      const text = textOf(file).replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
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
        lines: textOf(file).split('\n').length,
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

describe('what the READMEs say', () => {
  const above = (file: string): string[] => {
    const folders: string[] = [];
    for (let at = path.dirname(file); at.startsWith(SRC); at = path.dirname(at)) folders.push(at);
    return folders
      .map((folder) => path.join(folder, 'README.md'))
      .filter((name) => existsSync(name));
  };

  it('each file is named there, or says itself at its head what it is', () => {
    const silent = product.filter((file) => {
      if (textOf(file).startsWith('/**')) return false;
      const name = new RegExp(`\\b${path.basename(file, '.ts')}\\b`);
      return !above(file).some((readme) => name.test(textOf(readme)));
    });
    expect(silent.map(relative)).toEqual([]);
  });

  it('names no source file that is gone', () => {
    const known = everything.map((file) => `/${path.relative(ROOT, file)}`);
    const inside = everything.filter((file) => path.basename(file) === 'README.md');
    const readmes = [path.join(ROOT, 'README.md'), ...inside];
    const gone = readmes.flatMap((readme) =>
      [...textOf(readme).matchAll(/(?<![\w.*/])[\w][\w./-]*\.(?:test\.|long\.)?ts\b/g)]
        .map(([name]) => name)
        .filter(
          (name) => !known.some((file) => file.endsWith(`/${name.replace(/^(\.\.?\/)+/, '')}`)),
        )
        .map((name) => `${path.relative(ROOT, readme)}: ${name}`),
    );
    expect(gone).toEqual([]);
  });
});

describe('what is committed', () => {
  it('is erasable TypeScript: no enum, namespace, parameter property or decorator', () => {
    const wrong = sources.filter((file) =>
      /^\s*(export\s+)?(const\s+)?enum\s|^\s*namespace\s/m.test(textOf(file)),
    );
    expect(wrong.map(relative)).toEqual([]);
  });

  it('exports no function, constant or class that nobody imports', () => {
    const users = new Map<string, number>();
    for (const file of typescript) {
      for (const word of new Set(textOf(file).match(/[A-Za-z_$][\w$]*/g)))
        users.set(word, (users.get(word) ?? 0) + 1);
    }
    const exported = /^export (?:async )?(?:abstract )?(?:function\*?|const|class) ([\w$]+)/gm;
    const lonely = typescript.flatMap((file) =>
      [...textOf(file).matchAll(exported)]
        .filter(([, name]) => users.get(name!) === 1)
        .map(([, name]) => `${path.relative(ROOT, file)}: ${name}`),
    );
    expect(lonely).toEqual([]);
  });

  it('leaves no test switched off', () => {
    const wrong = sources.filter(
      (file) =>
        /\.(test|debian|long)\.ts$/.test(file) &&
        /\b(it|describe|test)\.(only|todo)\b/.test(textOf(file)),
    );
    expect(wrong.map(relative)).toEqual([]);
  });
});
