-- Single asks for wrk, each of its own message id: wrk -s asks.lua URL -- CUSTOMERS RUN KEY PATH [pairs]
-- In pairs, a confirm follows its ask by 256 requests: with 64 connections the answer has long been there.

local customers, run, path, pairs_wanted
local seq, turn, asked = 0, 0, {}

local ask_form = '{"message_id":"%s-%d","customer_id":"c%d","channel":"email","topic":"promotions",'
  .. '"campaign":"a%d"}'
local confirm_form = '{"contacts":[{"customer_id":"c%d","message_id":"%s-%d"}]}'

function init(args)
  customers, run, path, pairs_wanted = tonumber(args[1]), args[2], args[4], args[5] == "pairs"
  wrk.headers["Authorization"] = "Bearer " .. args[3]
  wrk.headers["Content-Type"] = "application/json"
  math.randomseed(tonumber(args[2]:match("%d+$")) or 1)
end

local function ask()
  seq = seq + 1
  local customer = math.random(0, customers - 1)
  local body = string.format(ask_form, run, seq, customer, seq % 7)
  return wrk.format("POST", path, nil, body), customer
end

function request()
  turn = turn + 1
  if not pairs_wanted then
    return (ask())
  end
  if turn % 2 == 1 or #asked < 128 then
    local asking, customer = ask()
    asked[#asked + 1] = {customer, seq}
    return asking
  end
  local first = table.remove(asked, 1)
  return wrk.format("POST", "/v1/contacts/confirm", nil, string.format(confirm_form, first[1], run, first[2]))
end
