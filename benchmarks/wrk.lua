-- For benchmarks/wrk.py: posts the body that lies in the file named by the first argument, with the headers that the
-- others are, names and values in turn, and prints one line of JSON at the end. Times are in microseconds. Counting
-- answers by status costs wrk 0.6 µs for each.

local threads = {}
-- A global of each thread, which done() reads.
statuses = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   file:close()
   for place = 2, #arguments, 2 do
      wrk.headers[arguments[place]] = arguments[place + 1]
   end
end

function response(status)
   local key = tostring(status)
   statuses[key] = (statuses[key] or 0) + 1
end

local function object(members)
   return "{" .. table.concat(members, ",") .. "}"
end

function done(summary, latency)
   local counts, errors = {}, {}
   for _, thread in ipairs(threads) do
      for status, count in pairs(thread:get("statuses")) do
         counts[status] = (counts[status] or 0) + count
      end
   end
   local by_status = {}
   for status, count in pairs(counts) do
      table.insert(by_status, string.format('"%s":%d', status, count))
   end
   for _, name in ipairs({"connect", "read", "write", "timeout"}) do
      table.insert(errors, string.format('"%s":%d', name, summary.errors[name]))
   end
   io.write(object({
      string.format('"requests":%d', summary.requests),
      string.format('"microseconds":%d', summary.duration),
      string.format('"p50":%d', latency:percentile(50)),
      string.format('"p90":%d', latency:percentile(90)),
      string.format('"p99":%d', latency:percentile(99)),
      string.format('"longest":%d', latency.max),
      '"statuses":' .. object(by_status),
      '"errors":' .. object(errors),
   }), "\n")
end
