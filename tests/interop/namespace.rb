# frozen_string_literal: true

# A fleet in a namespace of the gem redis-namespace: the setting `prefix` here.

require "redis-namespace"
require_relative "browser"

url = ENV.fetch("REDIS_URL")
bare = Redis.new(url: url)
Sidekiq.redis = { url: url, namespace: "shop" }

begin
  check "Ruby enqueues in a namespace, Rust runs with that prefix, and no key is outside" do
    jid = Mailers::Welcome.perform_async("ada@example.com")
    with_rust("mailers:1", "VERK_PREFIX" => "shop") do |rust|
      assert_equal ["ada@example.com"], rust.wait_for(jid).args, "args"
      wait_until_idle
    end
    outside = bare.keys("*").reject { |key| key.start_with?("shop:") }
    assert_equal [], outside, "keys outside"
  end

  check "a job that failed in Rust is in the retry set that Ruby sees in the namespace" do
    jid = Sidekiq::Client.push("class" => "NobodyHasThisClass", "queue" => "mailers", "args" => [], "retry" => true)
    with_rust("mailers:1", "VERK_PREFIX" => "shop") do
      wait_until("the retry") { retries.find_job(jid) }
    end
    assert_equal 1, bare.zcard("shop:retry"), "shop:retry"
  end

  check "in a namespace, too, Busy shows the Rust worker, and its 'Stop' ends it" do
    with_rust("mailers:1", "VERK_PREFIX" => "shop", "VERK_TAG" => "in shop") do |rust|
      process = wait_until("the process") { Sidekiq::ProcessSet.new.find { |found| found.tag == "in shop" } }
      web = Browser.new
      assert web.get("/busy").include?(":#{rust.pid}"), "not on the page"
      web.press("/busy", "stop", process.identity)
      wait_until_ended(rust)
      assert_equal [0, 0], [rust.stop, bare.scard("shop:processes")], "exit code, processes"
    end
  end
ensure
  bare.flushdb
  Sidekiq.redis = { url: url }
end
