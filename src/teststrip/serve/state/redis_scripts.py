"""The Lua scripts: each is one atomic step on the server, by the server's clock.

Keys below the prefix (`ARGV[1]`): `job:<key>` hash (d record, s state, o owner, m stamp,
w waiting line, by the mark of its last change); sorted sets of stamps in lexical order `all`,
`of:<owner>`, `in:<state>`, `in:<state>:<owner>`; `waiting` of lines; sorted by time `unsent`,
`leases`, `expiry`, `drops`; the set `cancels`; and small things.
"""

PRELUDE = """
local p = ARGV[1]
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function due(name, score, key)
  if score == '' then redis.call('ZREM', p .. name, key)
  else redis.call('ZADD', p .. name, score, key) end
end
local function forget(key)
  local job = p .. 'job:' .. key
  local r = redis.call('HMGET', job, 's', 'o', 'm', 'w')
  for _, name in ipairs({'unsent', 'leases', 'expiry', 'drops'}) do due(name, '', key) end
  redis.call('SREM', p .. 'cancels', key)
  if not r[1] then return end
  for _, name in ipairs({'all', 'of:' .. r[2], 'in:' .. r[1], 'in:' .. r[1] .. ':' .. r[2]}) do
    redis.call('ZREM', p .. name, r[3])
  end
  redis.call('ZREM', p .. 'waiting', r[4])
  redis.call('DEL', job)
end
local function records(keys, set)
  local found = {}
  for _, key in ipairs(keys) do
    local d = redis.call('HGET', p .. 'job:' .. key, 'd')
    if d then found[#found + 1] = d else redis.call('ZREM', set, key) end
  end
  return found
end
"""

# key -> record, mark, seconds, microseconds
READ = """
local r = redis.call('HMGET', p .. 'job:' .. ARGV[2], 'd', 'by')
local t = redis.call('TIME')
return {r[1], r[2], t[1], t[2]}
"""

# key, mark it must have ('' = absent), new mark, record, state, owner, stamp, line,
# then scores or '': accepted while unpublished, lease, expires, time to drop; cancel '1' or '';
# milliseconds that its previews may stay or ''
SWAP = """
local key, job = ARGV[2], p .. 'job:' .. ARGV[2]
local was = redis.call('HMGET', job, 'by', 's')
if (was[1] or '') ~= ARGV[3] then return 0 end
local state, owner, stamp, line = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
redis.call('HSET', job, 'd', ARGV[5], 's', state, 'o', owner, 'm', stamp,
           'w', line, 'by', ARGV[4])
if was[2] ~= state then
  if was[2] then
    redis.call('ZREM', p .. 'in:' .. was[2], stamp)
    redis.call('ZREM', p .. 'in:' .. was[2] .. ':' .. owner, stamp)
  else
    redis.call('ZADD', p .. 'all', 0, stamp)
    redis.call('ZADD', p .. 'of:' .. owner, 0, stamp)
  end
  redis.call('ZADD', p .. 'in:' .. state, 0, stamp)
  redis.call('ZADD', p .. 'in:' .. state .. ':' .. owner, 0, stamp)
  if state == 'queued' then redis.call('ZADD', p .. 'waiting', 0, line)
  elseif was[2] == 'queued' then redis.call('ZREM', p .. 'waiting', line) end
end
due('unsent', ARGV[10], key)
due('leases', ARGV[11], key)
due('expiry', ARGV[12], key)
due('drops', ARGV[13], key)
if ARGV[14] == '1' then redis.call('SADD', p .. 'cancels', key)
else redis.call('SREM', p .. 'cancels', key) end
if ARGV[15] ~= '' then redis.call('PEXPIRE', p .. 'preview:' .. key, ARGV[15], 'LT') end
return 1
"""

# key, mark it must have
FORGET = """
if redis.call('HGET', p .. 'job:' .. ARGV[2], 'by') ~= ARGV[3] then return 0 end
forget(ARGV[2])
return 1
"""

# set, stamp to begin below ('+' = newest), how many -> stamp, record, stamp, record, ...
PAGE = """
local found = {}
local stamps = redis.call('ZREVRANGEBYLEX', p .. ARGV[2], ARGV[3], '-', 'LIMIT', 0, ARGV[4])
for _, stamp in ipairs(stamps) do
  local d = redis.call('HGET', p .. 'job:' .. string.sub(stamp, 22), 'd')
  if d then found[#found + 1] = stamp; found[#found + 1] = d end
end
return found
"""

# one long string: ten thousand small answers would take the client long to read
WAITING = "return table.concat(redis.call('ZRANGE', p .. 'waiting', 0, -1), '\\n')"

# '' or ':<owner>'
COUNTS = """
return {redis.call('ZCARD', p .. 'in:queued' .. ARGV[2]),
        redis.call('ZCARD', p .. 'in:running' .. ARGV[2])}
"""

# set, how long ago, how many
DUE = """
local last = string.format('%.6f', now() - tonumber(ARGV[3]))
local keys = redis.call('ZRANGEBYSCORE', p .. ARGV[2], '-inf', last, 'LIMIT', 0, ARGV[4])
return records(keys, p .. ARGV[2])
"""

# drops old records and things whose time is over, some at a time
TIDY = """
local last = string.format('%.6f', now())
local function over(name) return redis.call('ZRANGEBYSCORE', p .. name, '-inf', last, 'LIMIT', 0,
  ARGV[2]) end
for _, key in ipairs(over('drops')) do forget(key) end
for _, name in ipairs(over('until')) do
  redis.call('DEL', p .. 'thing:' .. name)
  redis.call('ZREM', p .. 'things', name)
  redis.call('ZREM', p .. 'until', name)
end
return 1
"""

# key, index, data, milliseconds
PREVIEW = """
redis.call('HSET', p .. 'preview:' .. ARGV[2], ARGV[3], ARGV[4])
redis.call('PEXPIRE', p .. 'preview:' .. ARGV[2], ARGV[5])
return 1
"""

# who, milliseconds
LEAD = """
local held = redis.call('GET', p .. 'leader')
if held and held ~= ARGV[2] then return 0 end
if tonumber(ARGV[3]) <= 0 then redis.call('DEL', p .. 'leader')
else redis.call('SET', p .. 'leader', ARGV[2], 'PX', ARGV[3]) end
return 1
"""

# name, data, seconds or ''
PUT = """
redis.call('SET', p .. 'thing:' .. ARGV[2], ARGV[3])
redis.call('ZADD', p .. 'things', 0, ARGV[2])
if ARGV[4] == '' then redis.call('ZREM', p .. 'until', ARGV[2])
else redis.call('ZADD', p .. 'until', string.format('%.6f', now() + ARGV[4]), ARGV[2]) end
return 1
"""

# prefix, how many -> name, data, name, data, ...; those whose time is over are passed over
THINGS = """
local found, from, time, left = {}, '[' .. ARGV[2], now(), tonumber(ARGV[3])
while left > 0 do
  local names = redis.call('ZRANGEBYLEX', p .. 'things', from, '[' .. ARGV[2] .. '\\255',
                           'LIMIT', 0, left)
  if #names == 0 then break end
  for _, name in ipairs(names) do
    local ends = redis.call('ZSCORE', p .. 'until', name)
    if not ends or tonumber(ends) > time then
      found[#found + 1] = name
      found[#found + 1] = redis.call('GET', p .. 'thing:' .. name)
      left = left - 1
    end
  end
  from = '(' .. names[#names]
end
return found
"""

# name
DROP = """
redis.call('DEL', p .. 'thing:' .. ARGV[2])
redis.call('ZREM', p .. 'things', ARGV[2])
redis.call('ZREM', p .. 'until', ARGV[2])
return 1
"""

# name, card, seconds
TELL = """
local time = now()
redis.call('HSET', p .. 'workers', ARGV[2], string.format('%.6f', time) .. ' ' .. ARGV[3])
redis.call('ZADD', p .. 'workers:until', string.format('%.6f', time + ARGV[4]), ARGV[2])
return 1
"""

WORKERS = """
local set = p .. 'workers:until'
local gone = redis.call('ZRANGEBYSCORE', set, '-inf', string.format('%.6f', now()))
for _, name in ipairs(gone) do
  redis.call('HDEL', p .. 'workers', name)
  redis.call('ZREM', set, name)
end
return redis.call('HVALS', p .. 'workers')
"""

# bucket, amount, tokens a second, burst -> 1 or 0, tokens left
TAKE = """
local key, amount = p .. 'bucket:' .. ARGV[2], tonumber(ARGV[3])
local per, burst, time = tonumber(ARGV[4]), tonumber(ARGV[5]), now()
local r = redis.call('HMGET', key, 't', 'a')
local tokens, at = tonumber(r[1]) or burst, tonumber(r[2]) or time
tokens = math.min(burst, tokens + math.max(0, time - at) * per)
local ok = tokens >= amount
if ok then tokens = tokens - amount end
redis.call('HSET', key, 't', string.format('%.6f', tokens), 'a', string.format('%.6f', time))
local full = 86400
if per > 0 then full = math.min(full, (burst - tokens) / per + 1) end
redis.call('PEXPIRE', key, math.ceil(full * 1000))
return {ok and 1 or 0, string.format('%.6f', tokens)}
"""
