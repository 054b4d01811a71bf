// A real provider of OpenID Connect for the tests, from a certified library: node server.mjs PORT REDIRECT_URI. Prints "ready" when it listens.
import Provider, { errors } from 'oidc-provider';

const [port, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const SECRET = 'the-secret-of-a-client-in-tests';
const accounts = {
  'u-alice': { name: 'alice', password: 'word of alice', email: 'alice@example.org', groups: ['staff', 'dev'] },
  'u-mallory': { name: 'mallory', password: 'word of mallory', email: 'mallory@example.org', groups: ['guests'] },
};

const described = (sub) => ({ sub, name: accounts[sub].name, email: accounts[sub].email, groups: accounts[sub].groups });
const findAccount = async (_, sub) => (accounts[sub] ? { accountId: sub, claims: async () => described(sub) } : undefined);
const resource = { scope: 'api', audience: 'the cloud', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } };
const RESOURCE = 'urn:cloud';
const client = (client_id, grant_types, more = {}) =>
  ({ client_id, client_secret: SECRET, grant_types, redirect_uris: [], response_types: [], ...more });

const provider = new Provider(issuer, {
  clients: [
    client('pileus', ['password', 'authorization_code'], { redirect_uris: [redirectUri], response_types: ['code'] }),
    client('by-jwt', ['password', 'client_credentials']),
    client('stranger', ['password', 'client_credentials']),
  ],
  findAccount,
  scopes: ['openid', 'profile', 'email', 'api'],
  claims: { openid: ['sub'], profile: ['name', 'groups'], email: ['email'] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ['of no use elsewhere'] },
  ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Grant: 600, Session: 600, Interaction: 600 },
  extraTokenClaims: (_, token) => (token.accountId && token.clientId === 'by-jwt' ? described(token.accountId) : undefined),
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx) => (ctx.oidc.client.clientId === 'by-jwt' ? RESOURCE : undefined),
      getResourceServerInfo: () => resource,
      useGrantedResource: () => true,
    },
  },
});

provider.registerGrantType('password', async (ctx) => {
  const { client: asking, params } = ctx.oidc;
  const found = Object.entries(accounts).find(([, one]) => one.name === params.username && one.password === params.password);
  if (!found) throw new errors.InvalidGrant('the name or the password is wrong');
  const scope = params.scope || 'openid';
  const grant = new provider.Grant({ clientId: asking.clientId, accountId: found[0] });
  grant.addOIDCScope(scope);
  const token = new provider.AccessToken({ client: asking, accountId: found[0], grantId: await grant.save(), gty: 'password', scope });
  if (asking.clientId === 'by-jwt') token.resourceServer = new provider.ResourceServer(RESOURCE, resource);
  ctx.oidc.entity('AccessToken', token);
  const id = new provider.IdToken(described(found[0]), { ctx });
  id.scope = scope;
  ctx.oidc.entity('Client', asking);
  const access_token = await token.save();
  ctx.body = { access_token, token_type: token.tokenType, expires_in: token.expiration, id_token: await id.issue({ use: 'idtoken' }) };
}, ['username', 'password', 'scope']);

provider.on('server_error', (_, error) => console.error(error));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
