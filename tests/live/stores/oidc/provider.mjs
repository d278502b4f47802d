// An OpenID provider: node provider.mjs DIRECTORY PORT, and fresh keys: node provider.mjs keys
//
// The provider is npm's oidc-provider; discovery, keys, signing and introspection are its own. Ours
// is only how a token is asked for, since no browser is here: the resource owner's password (RFC
// 6749 §4.3), with the token's audience, scope, algorithm and lifetime in the request.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Provider, errors } from 'oidc-provider';

const [directory, port] = process.argv.slice(2);

if (directory === 'keys') {
  console.log(JSON.stringify(freshKeys()));
} else {
  serve();
}

// Of the keys that fit, the provider signs with the first.
function freshKeys() {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return [[rsa, 'RS256'], [ec, 'ES256']].map(([pair, alg]) => ({
    ...pair.privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg, use: 'sig',
  }));
}

function serve() {
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: read('keys.json') },
    clients: read('clients.json').map((client) => ({
      ...client, redirect_uris: [], response_types: [], grant_types: ['password'],
    })),
    scopes: ['openid', 'mail', 'calendar'],
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      resourceIndicators: { enabled: true },
    },
    extraTokenClaims: (ctx, token) => ({ email: read('users.json')[token.accountId].email }),
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
  provider.registerGrantType(
    'password', grant, ['username', 'password', 'scope', 'audience', 'alg', 'lifetime'],
  );
  provider.on('server_error', (ctx, error) => console.error(error));
  provider.listen(Number(port), '127.0.0.1');
}

async function grant(ctx, next) {
  const { client, params, provider } = ctx.oidc;
  const user = read('users.json')[params.username];
  if (user === undefined || user.password !== params.password) {
    throw new errors.InvalidGrant('no such user, or another password');
  }
  const { AccessToken, ResourceServer } = provider;
  const opaque = params.alg === 'opaque';
  const token = new AccessToken({
    accountId: params.username,
    client,
    expiresIn: Number(params.lifetime),
    grantType: 'password',
    resourceServer: new ResourceServer(`urn:${params.audience}`, {
      audience: params.audience,
      accessTokenFormat: opaque ? 'opaque' : 'jwt',
      jwt: opaque ? undefined : { sign: { alg: params.alg } },
    }),
    scope: params.scope,
  });
  ctx.body = {
    access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer',
  };
  await next();
}

function read(name) {
  return JSON.parse(readFileSync(join(directory, name), 'utf8'));
}
